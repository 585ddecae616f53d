import { setTimeout as wait } from 'node:timers/promises'
import type { SavedCheckpoint } from '@vm0/checkpoints'
import { toVm0Error, type EventBody, type RunSpec } from '@vm0/contract'
import type { FrameworkDriver } from '@vm0/frameworks'
import { isLost } from './live-session.js'
import type { RunContext } from './run-context.js'
import { failure, type Ending } from './run-endings.js'
import { ToolBatch } from './tool-batch.js'

/** How long a checkpoint waits for the one before it to be stored. */
const storePatienceMs = 2_000

export interface RunCheckpointsOptions extends RunContext {
  driver: FrameworkDriver
  /** Release of the agent that is at work. */
  agentVersion(): string | undefined
  policy: RunSpec['checkpoints']
  /** The session's files are saved as they are now. */
  onCommitted(): void
}

/**
 * The checkpoints of one run: after the tool calls that changed files, and at its end.
 *
 * Within the run the model proxy is the barrier: an agent asks the model when its last batch of tool calls is done, and does
 * nothing until it has the answer. So the request goes on, and its answer is held back until the sandbox was captured.
 */
export class RunCheckpoints {
  private readonly batch = new ToolBatch()
  private saving: Promise<void> | undefined
  private savedAtMs = -Infinity
  private over = false

  constructor(private readonly options: RunCheckpointsOptions) {}

  observe(event: EventBody): void {
    this.batch.observe(event)
  }

  /** The agent has these results in its record of the conversation. */
  recorded(toolIds: readonly string[]): void {
    this.batch.recorded(toolIds)
  }

  /** The agent has ended its turns. */
  end(): void {
    this.over = true
  }

  /** A model request has been sent on; resolves when the agent may have the answer. */
  async barrier(body: string): Promise<void> {
    const { policy = 'every', driver } = this.options
    if (policy === 'off' || this.over) return
    const minIntervalMs = policy === 'every' ? 0 : policy.minIntervalMs
    // Before the body is read: a conversation may have megabytes.
    if (performance.now() - this.savedAtMs < minIntervalMs) return
    const results = driver.toolResults(body)
    if (results.length === 0 || !(await this.batch.settled(results))) return
    if (!this.batch.mayHaveChangedFiles) return
    // A store that is slow must not keep the agent waiting: its next calls then share a checkpoint with these.
    if (this.saving) await Promise.race([this.saving, wait(storePatienceMs, undefined, { ref: false })])
    if (this.over || this.saving) return
    await new Promise<void>((resolve) => {
      this.saving = this.options.session
        .inTurn(() => this.save(resolve))
        .catch((error: unknown) => this.failed(error, 'a checkpoint within a run failed'))
        .finally(() => {
          this.saving = undefined
          resolve()
        })
    })
  }

  private async save(onThaw: () => void): Promise<void> {
    const { session, store, ref, epoch, driver, runner, log } = this.options
    const calls = this.batch.take()
    this.savedAtMs = performance.now()
    const saved = await session.saveIfChanged(
      { ...this.reason, cause: 'tool', toolCalls: calls.map(({ id, name }) => ({ id, name })) },
      driver.statePaths,
      onThaw,
    )
    if (!saved) return
    // What the calls did is private: the row has it encrypted, the manifest not at all.
    const committed = await store.commitHead(ref, epoch, saved, runner.secrets.seal(JSON.stringify(calls)))
    if (!committed) return
    session.committed(saved)
    this.options.onCommitted()
    log.append(committedEvent(saved))
  }

  /** Saves what its sandbox still holds, with the conversation as it stands, before another one takes its place. */
  saveRest(): Promise<void> {
    return this.options.session.saveHead({ ...this.reason, cause: 'exec' })
  }

  /** In turn: saves what there is when the run ends; gives the outcome that follows when it can't be saved. */
  async atEnd(ending: Ending): Promise<{ ending: Ending; saved: SavedCheckpoint | null }> {
    const { session, log } = this.options
    try {
      // What was told so far is on disk before the row says how it ended.
      const told = log.flush().catch((error: unknown) => this.failed(error, 'events of a run could not be written'))
      const saved = await session.save({ ...this.reason, cause: 'run', outcome: ending.state })
      await told
      return { ending, saved }
    } catch (error) {
      const { code, message } = toVm0Error(error, 'CHECKPOINT_FAILED')
      this.failed(error, 'checkpoint failed')
      if (isLost(error)) return { ending: failure('died', 'host_disk_full', code, message), saved: null }
      if (ending.state !== 'succeeded') return { ending, saved: null }
      return { ending: failure('failed', 'checkpoint_failed', 'CHECKPOINT_FAILED', message), saved: null }
    }
  }

  private get reason() {
    const { session, ref, epoch, driver, agentVersion } = this.options
    const { agentSessionId } = session
    const version = agentVersion()
    return {
      epoch,
      runId: ref.runId,
      ...(agentSessionId && version
        ? { conversation: { framework: driver.name, agentSessionId, agentVersion: version } }
        : {}),
    }
  }

  private failed(error: unknown, what: string): void {
    this.options.runner.logger.error({ ...this.options.ref, error }, what)
  }
}

export function committedEvent({ id, manifest, changedFiles, sizeBytes, durationMs }: SavedCheckpoint): EventBody {
  const { cause, toolCalls } = manifest
  const calls = toolCalls ? { toolIds: toolCalls.map((call) => call.id) } : {}
  return { type: 'checkpoint.committed', checkpoint: id, cause, ...calls, changedFiles, sizeBytes, durationMs }
}
