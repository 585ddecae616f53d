import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { SandboxRecord } from '@vm0/contract'
import { run } from '@vm0/process'
import { openCgroups } from '../cgroup/cgroup.js'
import type { EngineOptions } from '../engine.js'
import { unmount } from './mounts.js'
import { removeNetworkOf } from './network.js'
import { releaseSlotsOf, Slot } from './slots.js'

/** Ends and removes what an earlier process of this installation left on the host, but for the sandboxes that are kept. */
export async function reapInstallation(
  { installation, dataDir, runtime = 'crun' }: Pick<EngineOptions, 'installation' | 'dataDir' | 'runtime'>,
  kept: ReadonlyMap<string, SandboxRecord> = new Map(),
): Promise<void> {
  const runDirectory = `/run/vm0/${installation}`
  for (const id of await readdir(join(runDirectory, 'crun')).catch(() => [])) {
    if (kept.has(id)) continue
    await run(runtime, ['--root', join(runDirectory, 'crun'), 'delete', '--force', id]).catch(() => undefined)
  }
  await reapCgroups(`/vm0/${installation}`, kept)
  const slots = [...kept.values()].map(({ slot }) => new Slot(slot))
  await removeNetworkOf(installation, slots)
  await releaseSlotsOf(installation, slots)
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${runDirectory}/`) && !kept.has(path.split('/')[4] ?? ''))
  for (const path of mounts.toReversed()) await unmount(path)
  await removeAllBut(runDirectory, kept.size > 0 ? ['crun', ...kept.keys()] : [])
  await removeAllBut(join(dataDir, 'sandboxes'), [...kept.keys()])
}

async function reapCgroups(path: string, kept: ReadonlyMap<string, unknown>): Promise<void> {
  const cgroups = openCgroups()
  if (kept.size > 0) {
    for (const id of await cgroups.children(path)) if (!kept.has(id)) await cgroups.remove(`${path}/${id}`)
    return
  }
  await cgroups.remove(path)
  await cgroups.removeIfEmpty('/vm0')
}

async function removeAllBut(directory: string, names: string[]): Promise<void> {
  if (names.length === 0) return rm(directory, { recursive: true, force: true })
  for (const name of await readdir(directory).catch(() => []))
    if (!names.includes(name)) await rm(join(directory, name), { recursive: true, force: true })
}
