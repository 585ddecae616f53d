export { hostImages } from './host-images.js'
export { templatePort } from './template-port.js'
export { TemplateRows } from './template-rows.js'
