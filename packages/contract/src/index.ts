export * from './errors.js'
export * from './events.js'
export * from './runner-port.js'
export * from './runs.js'
