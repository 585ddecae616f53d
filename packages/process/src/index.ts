export { run, CommandFailed } from './run.js'
export { spawn, type HostProcess, type SpawnOptions } from './spawn.js'
export { workerFile } from './worker-file.js'
