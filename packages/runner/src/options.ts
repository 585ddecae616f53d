import type { BlobPort, Database, EventLog, SecretsPort } from '@vm0/backends'
import type { CheckpointStore } from '@vm0/checkpoints'
import type { FrameworkDriver, ReleaseStore } from '@vm0/frameworks'
import type { Gateway } from '@vm0/gateway'
import type { SandboxEngine } from '@vm0/sandbox'
import type { Logger } from 'pino'
import type { PoolLimits } from './pool/pool-size.js'

/** The templates that sessions of this runner begin with. */
export interface RunnerTemplates {
  /** Local path of the image; rejects with UNKNOWN_TEMPLATE. */
  image(digest: string, projectId: string): Promise<string>
  /** What a template gives its sessions, and what it is called where it has a name: `web@3`. */
  about(digest: string, projectId: string): Promise<TemplateAbout>
}

export interface TemplateAbout {
  name: string | null
  env: Readonly<Record<string, string>>
}

export interface RunnerOptions {
  /** The same across restarts of this installation: what it owned is found again by it. */
  runnerId: string
  database: Database
  secrets: SecretsPort
  eventLog: EventLog
  blobs: BlobPort
  checkpoints: CheckpointStore
  engine: SandboxEngine
  gateway: Gateway
  releases: ReleaseStore
  findDriver(name: string): FrameworkDriver
  templates: RunnerTemplates
  logger: Logger
  /** A session's sandbox is frozen after this long without use: it takes no CPU then. */
  freezeMs: number
  /** A session's sandbox is saved and freed after this long without use. */
  idleMs: number
  /**
   * Memory of frozen sandboxes is given back while less than this share of the host's is available, from 0 (never) to 1
   * (always).
   */
  reclaimBelow: number
  maxSandboxes: number
  /** Which warm sandboxes are kept. */
  pool: { framework: string; template: string; limits: PoolLimits }
  /** A run ends as failed when its model endpoint has given nothing of use for this long. */
  modelPatienceMs: number
  /** What a run waits for is looked at when nothing has come from its agent for this long. */
  silenceMs: number
  /** Called when a run has ended and its room may be used again. */
  onRoom(): void
}
