export { SandboxRecorder } from './black-box.js'
export { Recorder } from './recorder.js'
export { Watchdog } from './watchdog.js'
export type * from './types.js'
