import type { EventWriter } from '@vm0/backends'
import type { RunRef } from '@vm0/contract'
import type { LiveSession } from './live-session.js'
import type { RunnerOptions } from './options.js'
import type { RunnerStore } from './store.js'

/** What the parts of one run share. */
export interface RunContext {
  runner: RunnerOptions
  store: RunnerStore
  session: LiveSession
  ref: RunRef
  /** Under which the session is owned. */
  epoch: number
  log: EventWriter
}
