export { Runner } from './runner.js'
export type { RunnerOptions } from './options.js'
