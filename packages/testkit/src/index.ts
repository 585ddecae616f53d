export type { MessagesRequest } from './request.js'
export { loadScript, scriptSchema, type Script } from './script.js'
export { startScriptedModel, type ScriptedModel } from './scripted-model.js'
export { examplesScript, quickstartScript } from './shipped-scripts.js'
