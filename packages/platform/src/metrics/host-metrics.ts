import { readFile } from 'node:fs/promises'
import type { Database } from '@vm0/backends'
import { activeStates, type RunnerStatus } from '@vm0/contract'
import type { Metrics } from './registry.js'

export interface HostMetricsOptions {
  database: Database
  version: string
  status(): Promise<RunnerStatus>
}

/** Brings what is a state, and no count, up to date before each scrape. What can't be read keeps its last value. */
export function readHostMetrics(metrics: Metrics, { database, version, status }: HostMetricsOptions): void {
  metrics.set('vm0_build_info', { version }, 1)
  let toldBytes = 0
  metrics.beforeScrape(async () => {
    const { sessions, frozen, reclaimed, reclaimedBytes, warm, prepared, maxSandboxes } = await status()
    metrics.set('vm0_sandboxes', { state: 'active' }, sessions - frozen)
    metrics.set('vm0_sandboxes', { state: 'frozen' }, frozen - reclaimed)
    metrics.set('vm0_sandboxes', { state: 'reclaimed' }, reclaimed)
    metrics.add('vm0_reclaimed_bytes_total', {}, reclaimedBytes - toldBytes)
    toldBytes = reclaimedBytes
    metrics.set('vm0_sandboxes', { state: 'warm' }, warm)
    metrics.set('vm0_sandboxes', { state: 'prepared' }, prepared)
    metrics.set('vm0_sandboxes_limit', {}, maxSandboxes)
  })
  metrics.beforeScrape(async () => {
    const query = database.db
      .selectFrom('runs')
      .select(['state', (eb) => eb.fn.countAll().as('runs')])
      .where('state', 'in', [...activeStates])
      .groupBy('state')
    const rows = await query.execute().catch(() => undefined)
    if (!rows) return
    for (const state of activeStates) {
      const row = rows.find((each) => each.state === state)
      metrics.set('vm0_runs', { state }, Number(row?.runs ?? 0))
    }
  })
  metrics.beforeScrape(async () => {
    const query = database.db
      .selectFrom('webhook_deliveries')
      .select((eb) => eb.fn.countAll().as('pending'))
      .where('state', '=', 'pending')
    const row = await query.executeTakeFirst().catch(() => undefined)
    if (row) metrics.set('vm0_webhook_deliveries_pending', {}, Number(row.pending))
  })
  metrics.beforeScrape(async () => {
    const memory = memoryOf(await readFile('/proc/meminfo', 'utf8').catch(() => ''))
    if (memory.total !== undefined) metrics.set('vm0_host_memory_bytes', {}, memory.total)
    if (memory.available !== undefined) metrics.set('vm0_host_memory_available_bytes', {}, memory.available)
    for (const [kind, share] of pressureOf(await readFile('/proc/pressure/memory', 'utf8').catch(() => '')))
      metrics.set('vm0_host_memory_pressure_ratio', { kind }, share)
  })
}

/** Of /proc/meminfo, in bytes. */
export function memoryOf(text: string): { total: number | undefined; available: number | undefined } {
  const bytes = (name: string): number | undefined => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
  }
  return { total: bytes('MemTotal'), available: bytes('MemAvailable') }
}

/** Of /proc/pressure/memory: the share of the last ten seconds in which some, or all, work waited; from 0 to 1. */
export function pressureOf(text: string): [kind: string, share: number][] {
  return [...text.matchAll(/^(some|full) avg10=(\d+(?:\.\d+)?) /gm)].map(([, kind, percent]) => [
    kind as string,
    Number(percent) / 100,
  ])
}
