import type { BlobPort, Database, EventLog, RunLines, SecretsPort } from '@vm0/backends'
import type { ArchivePort, DiffPort, FrameworkView, RunnerPort, RunRef, StoreUpkeep, TemplatePort } from '@vm0/contract'
import type { Limits } from './limits.js'
import type { DeliveryOutcome, WebhookTargets } from './webhooks/index.js'

export interface ServerOptions {
  limits: Limits
  database: Database
  secrets: SecretsPort
  eventLog: EventLog
  blobs: BlobPort
  runner: RunnerPort
  diffs: DiffPort
  upkeep: StoreUpkeep
  archives: ArchivePort
  /** Folder for uploads that are still coming in, on the file system of the objects. */
  scratch: string
  templates: TemplatePort
  webhooks: {
    targets: WebhookTargets
    /** Is told what became of each attempt. */
    onOutcome?(outcome: DeliveryOutcome): void
  }
  frameworkNames: readonly string[]
  frameworks(): Promise<FrameworkView[]>
  /** Makes an exact version available; tells what it does, a line each. */
  installFramework(name: string, version: string, onProgress: (message: string) => void): Promise<void>
  /** What the platform says of runs. */
  runLines: RunLines
  /** Is told of what the server did with a run. */
  onRun?(run: RunRef, text: string, error?: unknown): void
  /** Is told of what went wrong in the server itself. */
  onError?(error: unknown): void
}
