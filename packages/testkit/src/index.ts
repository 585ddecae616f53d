export { quickstartScript } from './quickstart-script.js'
export type { MessagesRequest } from './request.js'
export { loadScript, scriptSchema, type Script } from './script.js'
export { startScriptedModel, type ScriptedModel } from './scripted-model.js'
