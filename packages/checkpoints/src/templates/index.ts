export { Templates, type MakeTemplate } from './templates.js'
