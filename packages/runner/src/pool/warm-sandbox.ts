import { randomBytes } from 'node:crypto'
import type { WarmUp } from '@vm0/frameworks'
import type { MonitoredProcess, Sandbox } from '@vm0/sandbox'
import { CountedLines } from '../adoption/counted-lines.js'
import { readAll } from '../exec-output.js'
import type { RunnerOptions } from '../options.js'
import { platformMounts, releaseTarget } from '../platform-mounts.js'
import { toolEnvironment } from '../tool-environment.js'
import type { WarmKind } from './kind.js'

/** Bytes of each stream that one agent process may print over its life. */
export const maxAgentOutputBytes = 2 * 1024 ** 3
const warmUpTimeoutMs = 60_000
/** For so long a warm-up leaves the CPU to runs that begin; on a host that is always busy it must come to its end too. */
const yieldMs = 3_000

/** A sandbox that no session has yet, with an agent that has run once through its paths and waits for a prompt. */
export interface WarmSandbox {
  readonly kind: WarmKind
  readonly sandbox: Sandbox
  readonly process: MonitoredProcess
  /** Lines after those of the warm-up. */
  readonly lines: CountedLines
  readonly version: string
  /** From the start to the wait, in milliseconds. */
  readonly madeInMs: number
  /** Ends the gateway's own answers: from here on its requests belong to whoever registers next. */
  release(): void
  close(): Promise<void>
}

export async function makeWarmSandbox(options: RunnerOptions, kind: WarmKind): Promise<WarmSandbox> {
  const startedMs = performance.now()
  const { driver, template, resources, spec } = kind
  const warmUp = driver.warmUp?.()
  if (!warmUp) throw new Error(`${driver.name} can't be kept warm`)
  const [release, mounts, templateImage] = await Promise.all([
    options.releases.newest(driver.name),
    platformMounts(options.releases),
    options.templates.image(template, kind.imageOf),
  ])
  const id = randomBytes(6).toString('hex')
  const sandbox = await options.engine.create({ id, templateImage, layers: [], resources, platformMounts: mounts })
  const unregister = options.gateway.register(sandbox.address, warmUp)
  const timeout = setTimeout(() => void sandbox.close(), warmUpTimeoutMs)
  const takeShare = await sandbox.yieldCpu()
  const hurry = setTimeout(() => void takeShare().catch(() => undefined), yieldMs)
  try {
    const releaseDir = releaseTarget(driver.name, release.version)
    const launch = driver.launch({ releaseDir, gatewayUrl: sandbox.gatewayUrl, resume: null, spec })
    const env = { ...toolEnvironment, ...launch.env }
    const process = await sandbox.spawn({ id: `agent-${id}`, ...launch, env, maxOutputBytes: maxAgentOutputBytes })
    const lines = new CountedLines(process.output()[Symbol.asyncIterator]())
    await warmTo(warmUp, { sandbox, process, lines })
    await takeShare()
    return {
      kind,
      sandbox,
      process,
      lines,
      version: release.version,
      madeInMs: performance.now() - startedMs,
      release: unregister,
      async close() {
        unregister()
        await sandbox.close()
      },
    }
  } catch (error) {
    unregister()
    await sandbox.close()
    throw error
  } finally {
    clearTimeout(timeout)
    clearTimeout(hurry)
  }
}

interface Warming {
  sandbox: Sandbox
  process: MonitoredProcess
  lines: CountedLines
}

/** Carries the warm-up out, step by step. */
async function warmTo(warmUp: WarmUp, { sandbox, process, lines }: Warming): Promise<void> {
  let words = ''
  for (let step = warmUp.start(); step !== 'ready';) {
    if (step !== 'wait' && 'run' in step) {
      const { exitCode, stderr } = await readAll(sandbox.exec({ args: ['sh', '-c', step.run], cwd: '/' }), 65_536)
      if (exitCode !== 0) throw new Error(`a step of the warm-up ended with status ${exitCode}: ${stderr.trim()}`)
      step = warmUp.output()
      continue
    }
    if (step !== 'wait') for (const line of step.write) await process.write(line)
    const { value, done } = await lines.next()
    if (done) throw new Error(`the agent ended while it warmed up: ${words.trim() || 'it said nothing'}`)
    if (value.stream === 'stderr') words = `${words}${value.text}\n`.slice(-2000)
    step = value.stream === 'stderr' ? 'wait' : warmUp.line(value.text)
  }
}
