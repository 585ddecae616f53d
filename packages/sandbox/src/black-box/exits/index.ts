export { ExitFeed } from './exit-feed.js'
export type { ProcessEnd } from './process-ends.js'
