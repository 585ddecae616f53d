import type { ClaimedSession, Resources } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import type { WarmSandbox } from './pool/warm-sandbox.js'

export interface ReadySandbox {
  sandbox: Sandbox
  /** Made anew, taken from the pool, or the one that the session has. */
  how: 'cold' | 'warm' | 'session'
}

/** A warm sandbox of this template and size, where there is one. */
export type TakeWarm = (template: string, resources: Required<Resources>) => WarmSandbox | undefined

export interface ReadyRequest {
  /** In place of the session's. */
  resources?: Resources | undefined
  /** The session's row, where it was read just now. */
  known?: ClaimedSession | undefined
  takeWarm?: TakeWarm | undefined
  /** Ends the unpacking of the session's workspace. */
  signal?: AbortSignal | undefined
}
