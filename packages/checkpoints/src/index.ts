export type { DiffOptions, DiffPage } from './diff/index.js'
export { openCheckpointStore, type CheckpointStoreOptions } from './open-store.js'
export type { ImageFiles } from './erofs/open-images.js'
export type {
  CheckpointManifest,
  CheckpointStore,
  LayerChain,
  LayerReference,
  SavedCheckpoint,
  SaveRequest,
  UpkeepOptions,
} from './store.js'
export type { Resealed } from './sealing/index.js'
export type { Collected, FsckReport, References } from './upkeep/index.js'
export {
  expiredCheckpoints,
  recoverSessions,
  type RecoveredSession,
  type RetentionPolicy,
  type StoredCheckpoint,
} from './upkeep/index.js'
export { documentName } from './digest.js'
export { checkpointColumns } from './columns.js'
