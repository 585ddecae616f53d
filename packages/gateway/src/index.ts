export type * from './gateway.js'
export { startGateway } from './start-gateway.js'
