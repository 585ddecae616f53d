export { hostMemory, memoryIn } from './host-memory.js'
export { reclaimLimits, type ReclaimLimits } from './policy.js'
export { Reclaimer } from './reclaimer.js'
