export { acceptClaimedRun, acceptRun, type NewRunRow, type NewSessionRow } from './accept-run.js'
export { claimedSession, nextEpoch, type ClaimedSessionRow } from './claimed-session.js'
export { expireCheckpoints, sessionsWithMany, type SessionCheckpoint } from './expire-checkpoints.js'
export { openBlobDirectory } from './blob-directory.js'
export { openBlobS3, type BlobS3Options } from './blob-s3.js'
export { forgetCheckpoints, referencedCheckpoints, type CheckpointReference } from './checkpoint-references.js'
export { openDatabase, type Database, type DatabaseOptions } from './database.js'
export { syncPath, writeDurable } from './durable.js'
export { openEventLog } from './event-log.js'
export { openRunLines } from './run-lines.js'
export { claimInstallation, holdDatabase } from './installation.js'
export { openFileCache, type FileCache, type FileCacheOptions } from './file-cache.js'
export type {
  BlobPort,
  DerivedKeys,
  EventLog,
  EventScope,
  EventWriter,
  ReadOptions,
  RunLines,
  SecretsPort,
  StoredObject,
} from './ports.js'
export { isConnectionLost, overLostConnections } from './reconnect.js'
export type { Schema } from './schema.js'
export {
  largestSessions,
  projectStorage,
  roomForRun,
  storageUnderQuota,
  type ProjectStorage,
  type UnderQuota,
  type SessionStorage,
} from './project-storage.js'
export { keyOf, openSecrets, type KeyRing } from './secrets.js'
export { resealRows, sealedRows } from './resealed-rows.js'
export { referencedTemplates, templateUses, type TemplateReference, type TemplateUse } from './template-references.js'
export { forgetUploads, pinUpload, type UploadReference } from './upload-references.js'
