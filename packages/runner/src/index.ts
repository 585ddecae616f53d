export { readStories } from './adoption/story.js'
export { Runner } from './runner.js'
export type { RunnerOptions, RunnerTemplates, TemplateAbout } from './options.js'
export { defaultPoolLimits, type PoolLimits } from './pool/pool-size.js'
