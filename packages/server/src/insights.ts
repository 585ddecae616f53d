import { isEnded, Vm0Error, type Cohort, type Comparison, type InsightsQuery, type RunView } from '@vm0/contract'
import { cohortsOf, compareRuns, digestOf, RunRecord, type ComparedRun, type RunDigest } from '@vm0/insight'
import type { Principal } from './principal.js'
import type { Runs } from './runs.js'

/** Digests of runs that have ended are kept: a few hundred bytes each. */
const maxKept = 10_000
const readAtATime = 4

/** What several runs have in common, and differ by: made of their events when it is asked for. */
export class RunComparisons {
  private readonly kept = new Map<string, RunDigest>()

  constructor(private readonly runs: Runs) {}

  async insights(
    by: Principal,
    { by: key, since, label, limit = 200 }: InsightsQuery & { limit?: number },
    signal: AbortSignal,
  ): Promise<{ runs: number; more: boolean; cohorts: Cohort[] }> {
    const { ended, more } = await this.newest(by.projectId, { since, label }, Number(limit))
    const digests: (RunDigest | undefined)[] = []
    for (let at = 0; at < ended.length && !signal.aborted; at += readAtATime)
      digests.push(...(await Promise.all(ended.slice(at, at + readAtATime).map((run) => this.digest(by, run, signal)))))
    const known = digests.filter((digest) => digest !== undefined)
    return { runs: known.length, more, cohorts: cohortsOf(known, key) }
  }

  async compare(by: Principal, a: string, b: string, signal: AbortSignal): Promise<Comparison> {
    const [left, right] = [await this.compared(by, a, signal), await this.compared(by, b, signal)]
    return compareRuns(left, right)
  }

  private async newest(projectId: string, filter: { since?: string; label?: string }, limit: number) {
    const ended: RunView[] = []
    for (let before: string | undefined; ;) {
      const page = await this.runs.list(projectId, { limit: 200, before, ...filter })
      ended.push(...page.items.filter(({ state }) => isEnded(state)))
      if (ended.length > limit || page.next === null)
        return { ended: ended.slice(0, limit), more: ended.length > limit }
      before = page.next
    }
  }

  /** Undefined of a run whose session was deleted: its events are gone. */
  private async digest(by: Principal, run: RunView, signal: AbortSignal): Promise<RunDigest | undefined> {
    const key = `${by.projectId}/${run.id}`
    const kept = this.kept.get(key)
    if (kept) return kept
    try {
      const digest = digestOf(await this.record(by, run.id, signal), run)
      if (signal.aborted) return undefined
      this.kept.set(key, digest)
      const [oldest] = this.kept.keys()
      if (this.kept.size > maxKept && oldest !== undefined) this.kept.delete(oldest)
      return digest
    } catch (error) {
      if (error instanceof Vm0Error && error.code === 'SESSION_DELETED') return undefined
      throw error
    }
  }

  async record(by: Principal, id: string, signal: AbortSignal): Promise<RunRecord> {
    const record = new RunRecord()
    for await (const event of await this.runs.events(by, id, { follow: false, signal })) record.add(event)
    return record
  }

  private async compared(by: Principal, id: string, signal: AbortSignal): Promise<ComparedRun> {
    const run = await this.runs.get(by, id)
    const [record, { resources, prompt }] = await Promise.all([
      this.record(by, id, signal),
      this.runs.circumstances(by, id),
    ])
    const labels = Object.entries(run.labels).map(([name, value]): [string, string] => [`label:${name}`, value])
    const sizes = Object.entries(resources).map(([name, value]): [string, string] => [name, String(value)])
    return {
      run,
      record,
      settings: Object.fromEntries([['prompt', prompt ?? ''], ...sizes, ...labels]),
    }
  }
}
