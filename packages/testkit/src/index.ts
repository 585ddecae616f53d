export type { MessagesRequest } from './messages-wire.js'
export { examplesScript, quickstartScript } from './shipped-scripts.js'
export { scriptSchema, type Script } from './script.js'
export { startScriptedModel, type ScriptedModel } from './scripted-model.js'
