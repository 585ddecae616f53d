export { ensureTemplate, findTemplate } from './ensure-template.js'
export type { Template, TemplateOptions } from './ensure-template.js'
