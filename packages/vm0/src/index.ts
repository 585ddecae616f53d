import { createClient } from './client.js'

export { Vm0Error } from '@vm0/contract/client'
export type {
  Answer,
  CheckpointView,
  Cohort,
  Comparison,
  DiffEntry,
  ErrorCode,
  Estimate,
  Evidence,
  ExecOutput,
  FileEntry,
  Finding,
  FrameworkView,
  GcReport,
  Insights,
  KeyView,
  LiveSandbox,
  LogEntry,
  Outcome,
  ProjectView,
  Resources,
  Report,
  RunnerStatus,
  RunView,
  Scene,
  Scope,
  SessionView,
  Span,
  StoreProblem,
  StoreReport,
  Story,
  TemplateList,
  TemplateVersionView,
  TemplateView,
  Thresholds,
  Timings,
  TokenView,
  Trace,
  UpgradeReport,
  TraceFormat,
  Usage,
  Vm0Event,
  WebhookDelivery,
  WebhookEvent,
  WebhookMessage,
  WebhookView,
  Why,
} from '@vm0/contract/client'
export { Checkpoint, SessionCheckpoints, type ForkOptions } from './checkpoint.js'
export { createClient, Vm0, type SessionOptions } from './client.js'
export type { ClientOptions } from './config.js'
export { Frameworks } from './frameworks.js'
export { Diff, type DiffOptions, type DiffResult } from './diff.js'
export type { Page, PageOptions, RunListOptions } from './page.js'
export { RunError, type RunFailure, type RunResult } from './run-result.js'
export { Run, type ReplayResult } from './run.js'
export type { LogOptions } from './run-logs.js'
export { SessionFiles } from './session-files.js'
export { Session, type ExecOptions, type ExecResult, type ExportOptions, type RunOptions } from './session.js'
export { Projects } from './projects.js'
export { Store, type FsckOptions, type GcOptions, type ResealOptions } from './store.js'
export {
  Templates,
  type TemplateCallOptions,
  type TemplateProgress,
  type TemplateRecipe,
  type ToTemplateOptions,
} from './templates.js'
export { verifyWebhook, type VerifyOptions } from './verify-webhook.js'
export { Webhooks } from './webhooks.js'
export type { DownloadOptions, DownloadResult } from './transfer/receive-tree.js'
export type { UploadOptions, UploadResult } from './transfer/send-tree.js'
export type { TransferProgress } from './transfer/sync/progress.js'

/**
 * Ready to use: the local `vm0 up`, or VM0_API_URL and VM0_API_KEY.
 *
 * @example
 * import { vm0 } from 'vm0'
 * const { text } = await vm0.run({ prompt: 'say hello' })
 */
export const vm0 = createClient()
