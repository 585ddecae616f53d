export { checkStore, type FsckReport } from './fsck.js'
export { collectGarbage, type Collected } from './gc.js'
export type { References } from './references.js'
export { recoverSessions, type RecoveredSession, type StoredCheckpoint } from './rebuild.js'
