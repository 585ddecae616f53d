import { mkdir, readFile, readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { sandboxRecordSchema, type SandboxRecord } from '@vm0/contract'
import { run } from '@vm0/process'
import type { EngineOptions } from '../engine.js'
import { mount, unmount } from './mounts.js'
import { isSameProcess, killInside } from './processes.js'
import { holdsSlot, Slot } from './slots.js'

const recordName = 'sandbox.json'
export const recordFile = (records: string): string => join(records, recordName)

/** The sandboxes of an earlier process that still run, are wanted, and are recorded in a way that this release knows. */
export async function survivors({
  installation,
  dataDir,
  adopt,
}: EngineOptions): Promise<ReadonlyMap<string, SandboxRecord>> {
  const found = new Map<string, SandboxRecord>()
  if (!adopt) return found
  const folder = join(dataDir, 'sandboxes')
  for (const id of await readdir(folder).catch(() => [])) {
    const record = await readRecord(join(folder, id))
    if (record?.id !== id || !adopt(id)) continue
    if ((await isSameProcess(record.init)) && (await holdsSlot(installation, new Slot(record.slot))))
      found.set(id, record)
  }
  return found
}

async function readRecord(records: string): Promise<SandboxRecord | undefined> {
  try {
    return sandboxRecordSchema.parse(JSON.parse(await readFile(recordFile(records), 'utf8')))
  } catch {
    return undefined // it was being made or given back, or another release has written it
  }
}

/**
 * Mounts a living sandbox's upper in this process's mount namespace too: by its loop device, so that it is the same file
 * system. What the earlier process had mounted in the folder goes, in its namespace also: the kernel takes a mount away
 * with the folder that it is on. The sandbox has its own.
 */
export async function takeOverMounts(directory: string, upperFile: string): Promise<void> {
  const mountPoints = (await readdir(directory)).filter((name) => /^(r|u|l\d+|view-.*)$/.test(name))
  for (const name of mountPoints) {
    await unmount(join(directory, name))
    await rmdir(join(directory, name))
  }
  const device = await run('losetup', ['--noheadings', '--output', 'NAME', '--associated', upperFile])
  if (!device.trim()) throw new Error(`${upperFile} is not in use by a sandbox any more`)
  await mkdir(join(directory, 'u'))
  await mount({
    source: device.trim(),
    target: join(directory, 'u'),
    type: 'ext4',
    flags: ['noDev', 'noSuid', 'noAtime'],
  })
}

/** Ends the commands whose streams the earlier process had: nobody reads them any more. */
export async function endOrphanedCommands(directory: string, cgroupsPath: string): Promise<void> {
  for (const name of await readdir(directory))
    if (/^exec-[0-9a-f]+\.pid$/.test(name)) await killInside(join(directory, name), cgroupsPath)
}
