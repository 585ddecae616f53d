import { createClient } from './client.js'

export { Vm0Error } from '@vm0/contract/client'
export type {
  ErrorCode,
  ExecOutput,
  FileEntry,
  FrameworkView,
  KeyView,
  Outcome,
  ProjectView,
  Resources,
  RunView,
  Scope,
  SessionView,
  Timings,
  TokenView,
  Usage,
  Vm0Event,
} from '@vm0/contract/client'
export { createClient, Vm0, type Page, type PageOptions } from './client.js'
export type { ClientOptions } from './config.js'
export { Run, RunError, type RunResult } from './run.js'
export { Session, SessionFiles, type ExecResult, type RunOptions } from './session.js'

/** Ready to use: the local `vm0 up`, or VM0_API_URL and VM0_API_KEY. */
export const vm0 = createClient()
