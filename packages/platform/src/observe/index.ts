export { openObservation } from './open-observation.js'
