export { startDaemon, type DaemonOptions } from './daemon.js'
export { checkHost } from './doctor/index.js'
export { cacheDir, configFile, defaultDataDir } from './paths.js'
export { up, type UpOptions } from './up.js'
