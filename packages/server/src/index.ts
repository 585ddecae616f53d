export { createServer, type Server } from './create-server.js'
export { Keys } from './keys.js'
export type { ServerOptions } from './options.js'
