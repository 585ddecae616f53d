export { openCheckpointStore } from './open-store.js'
export type { CheckpointManifest, CheckpointStore, SavedCheckpoint, SaveRequest } from './store.js'
