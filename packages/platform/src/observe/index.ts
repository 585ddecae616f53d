export { openObservation } from './observation.js'
export { type RunObserver } from './observed-log.js'
