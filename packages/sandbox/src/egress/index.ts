export { countingRules, countPair, type Egress, type EgressCount } from './count.js'
export { EgressMeter } from './meter.js'
