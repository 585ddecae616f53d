export type { MessagesRequest } from './messages-wire.js'
export { quickstartScript } from './quickstart-script.js'
export { scriptSchema, type Script } from './script.js'
export { startScriptedModel, type ScriptedModel } from './scripted-model.js'
