/**
 * What a client needs of the contract. Of the schemas only the types, so that a program that calls VM0 loads no zod.
 */
export type * from './check.js'
export type * from './checkpoints.js'
export type * from './checkpoint-diff.js'
export * from './cursor.js'
export * from './error-table.js'
export * from './errors.js'
export type * from './events.js'
export type * from './insight.js'
export * from './run-states.js'
export type * from './runs.js'
export type * from './runner-port.js'
export type * from './keys.js'
export type * from './session-archive.js'
export type * from './store-upkeep.js'
export * from './folder-sync.js'
export * from './ignore-rules.js'
