export { TemplateBuilds } from './builds.js'
export { Upgrades } from './upgrades.js'
export { Templates } from './templates.js'
