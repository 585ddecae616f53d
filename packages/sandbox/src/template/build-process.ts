import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Vm0Error } from '@vm0/contract'
import { buildScript } from './build-script.js'

const keptLines = 40
const maxLineLength = 2000
/** The steps that someone who waits wants to read: ours and mmdebstrap's; the rest of its notes goes to `details.output` only. */
const progressLine = /^I: (?:fetching|running apt-get update|downloading|extracting|installing|checking|packing) ?/

/** The namespaces of a build; `--pdeathsig` and `--kill-child` end all of it when this process dies. */
const inNamespaces = [
  '--pdeathsig',
  'KILL',
  '--',
  'unshare',
  '--mount',
  '--propagation',
  'private',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
]

export interface BuildRun {
  args: readonly string[]
  env: Readonly<Record<string, string>>
  timeoutMs: number
  onProgress: (message: string) => void
  signal: AbortSignal
}

/**
 * Runs the build to its end: on return none of its processes is left. Fails with TEMPLATE_BUILD_FAILED and the build's last
 * words in `details.output`, or with the signal's reason.
 */
export async function runBuild({ args, env, timeoutMs, onProgress, signal }: BuildRun): Promise<void> {
  const child = spawn('setpriv', [...inNamespaces, 'bash', '-c', buildScript, 'build', ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let late = false
  const kill = (): void => void child.kill('SIGKILL')
  const timer = setTimeout(() => {
    late = true
    kill()
  }, timeoutMs)
  signal.addEventListener('abort', kill, { once: true })
  if (signal.aborted) kill()
  const lastLines: string[] = []
  const keep = (line: string): void => {
    lastLines.push(line.slice(0, maxLineLength))
    if (lastLines.length > keptLines) lastLines.shift()
    if (progressLine.test(line)) onProgress(line.slice(3))
  }
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', keep)
  const failure = await new Promise<{ reason: string; cause?: unknown } | undefined>((resolve) => {
    child.once('error', (cause) => resolve({ reason: `could not start: ${cause.message}`, cause }))
    child.once('close', (code, ending) => {
      if (code === 0) resolve(undefined)
      else if (late) resolve({ reason: `took longer than ${timeoutMs} ms` })
      else resolve({ reason: ending ? `was ended by ${ending}` : `ended with status ${code}` })
    })
  })
  clearTimeout(timer)
  signal.removeEventListener('abort', kill)
  signal.throwIfAborted()
  if (!failure) return
  const lastError = lastLines.findLast((line) => line.startsWith('E: ')) ?? lastLines.at(-1) ?? 'it said nothing'
  throw new Vm0Error('TEMPLATE_BUILD_FAILED', `The build of the standard template ${failure.reason}: ${lastError}`, {
    details: { output: lastLines.join('\n') },
    cause: failure.cause,
  })
}
