import type { EventOf } from '@vm0/contract'
import { quoted } from '../detect/finding.js'

export type WaitKind = 'model' | 'network' | 'lock' | 'input' | 'sleep' | 'stopped' | 'computing' | 'unknown'

export interface Wait {
  on: WaitKind
  text: string
}

type Silent = Pick<EventOf<'sandbox.report'>, 'waiting' | 'unanswered'>
type Waiting = NonNullable<Silent['waiting']>[number]

/** The kernel's names of the places where a process waits. */
const places: [WaitKind, RegExp][] = [
  ['lock', /futex|flock|locks|posix_lock|rwsem|mutex/],
  ['input', /pipe_read|pipe_wait|n_tty|tty_|wait_woken|anon_pipe/],
  ['sleep', /nanosleep|hrtimer/],
  ['network', /tcp|inet|sk_wait|unix_stream|skb|sock/],
]

/** What a silent agent waited on, the first that holds: a stop, the model, then what the innermost process does. */
export function waitOf({ waiting = [], unanswered = [] }: Silent, modelIsAsked: boolean): Wait {
  const [agent] = waiting
  if (agent?.process.state === 'T')
    return { on: 'stopped', text: 'the agent itself was stopped (state T, as SIGSTOP does)' }
  const inner = innermost(waiting)
  if (!inner || inner === agent)
    return modelIsAsked
      ? { on: 'model', text: 'the model had not answered' }
      : { on: 'unknown', text: `the agent waited in ${agent?.place || 'a place that is not known'}` }
  const who = quoted(inner.process.command.slice(0, 100))
  if (inner.process.state === 'T') return { on: 'stopped', text: `${who} was stopped (state T)` }
  const [address] = unanswered
  if (address !== undefined) {
    const why = isPrivate(address) ? ': it is a private address, and sandboxes reach none' : ''
    return { on: 'network', text: `${who} waited for ${address}, where nobody answers${why}` }
  }
  const on =
    inner.process.state === 'R' ? 'computing' : (places.find(([, form]) => form.test(inner.place))?.[0] ?? 'unknown')
  return { on, text: `${who} ${words[on]}${on === 'unknown' && inner.place ? ` (in ${inner.place})` : ''}` }
}

const words: Record<WaitKind, string> = {
  model: 'waited for the model',
  network: 'waited for an answer from the network',
  lock: 'waited for a lock',
  input: 'waited for input that nobody gives',
  sleep: 'slept',
  stopped: 'was stopped',
  computing: 'was computing',
  unknown: 'waited',
}

/** The one that has started nothing, and that the others wait for; of several, the youngest. */
function innermost(waiting: readonly Waiting[]): Waiting | undefined {
  const parents = new Set(waiting.map(({ process }) => process.parentPid))
  return waiting
    .filter(({ process }) => !parents.has(process.pid))
    .toSorted((a, b) => a.process.ageMs - b.process.ageMs)[0]
}

export function isPrivate(address: string): boolean {
  return /^(?:0|10|127|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])|169\.254|172\.(?:1[6-9]|2\d|3[01])|192\.168|192\.0\.[02]|198\.1[89]|22[4-9]|2[3-5]\d)\./.test(
    address,
  )
}
