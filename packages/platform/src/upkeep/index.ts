export { collectInBackground } from './background.js'
export { Upkeep } from './upkeep.js'
