import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { keyOf, resealRows, sealedRows, type Database, type KeyRing } from '@vm0/backends'
import type { CheckpointStore } from '@vm0/checkpoints'
import { Vm0Error, type EncryptionReport, type ResealReport } from '@vm0/contract'

interface Parts {
  database: Database
  secrets: KeyRing
  checkpoints: CheckpointStore
  sandboxes: string
}

/** Which master keys there are, and how much is sealed under each. */
export async function encryptionReport(parts: Parts, signal: AbortSignal): Promise<EncryptionReport> {
  const [newest, ...older] = parts.secrets.keyIds()
  const sandboxes = await sealedSandboxes(parts.sandboxes)
  const objects = await parts.checkpoints.sealedObjects({ signal })
  const rows = await sealedRows(parts.database)
  const about = (id: string) => ({
    id,
    newest: id === newest,
    objects: objects.get(id) ?? 0,
    rows: rows.get(id) ?? 0,
    sandboxes: sandboxes.get(id) ?? 0,
  })
  const known = [newest as string, ...older]
  const found = new Set([...objects.keys(), ...rows.keys(), ...sandboxes.keys()])
  found.delete('')
  return {
    keys: known.map(about),
    missing: [...found].filter((id) => !known.includes(id)).map(about),
    unsealedObjects: objects.size === 0 ? null : (objects.get('') ?? 0),
  }
}

export async function reseal(
  { database, secrets, checkpoints }: Parts,
  options: { newKey: boolean; signal: AbortSignal; onProgress: (objects: number) => void },
): Promise<ResealReport> {
  const { newKey, signal, onProgress } = options
  const key = newKey ? await secrets.addKey() : (secrets.keyIds()[0] as string)
  const stored = await checkpoints.reseal({ signal, onProgress })
  const { resealed, problems } = await resealRows(database, secrets, signal)
  return {
    key,
    objects: stored.objects,
    bytes: stored.bytes,
    rows: resealed,
    problems: [...stored.problems, ...problems],
  }
}

export async function dropKey(parts: Parts, id: string, signal: AbortSignal): Promise<void> {
  const { keys } = await encryptionReport(parts, signal)
  const key = keys.find((each) => each.id === id)
  if (!key)
    throw new Vm0Error(
      'NOT_FOUND',
      `there is no encryption key ${id}; expected one of ${keys.map((each) => each.id).join(', ')}`,
    )
  if (key.newest)
    throw new Vm0Error('ENCRYPTION_KEY_IN_USE', `the key ${id} is the newest: it seals what is written now`, {
      hint: 'Make another one first: `vm0 encryption rotate`.',
    })
  const { objects, rows, sandboxes } = key
  if (objects + rows + sandboxes > 0)
    throw new Vm0Error(
      'ENCRYPTION_KEY_IN_USE',
      `under the key ${id} are still ${objects} objects of the store, ${rows} values of the database and the records of ${sandboxes} sandboxes`,
    )
  await parts.secrets.dropKey(id)
}

/** How many sandboxes of this host have records that are sealed under each key. */
async function sealedSandboxes(folder: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const id of await readdir(folder).catch(() => [])) {
    const ids = new Set<string>()
    try {
      for await (const line of createInterface({ input: createReadStream(join(folder, id, 'journal.ndjson')) }))
        for (const sealed of sealedValues(line)) ids.add(keyOf(sealed))
    } catch {
      // It has ended meanwhile.
    }
    for (const each of ids) counts.set(each, (counts.get(each) ?? 0) + 1)
  }
  return counts
}

function sealedValues(line: string): Buffer[] {
  try {
    const { spec, args } = JSON.parse(line) as { spec?: unknown; args?: unknown }
    return [spec, args].flatMap((text) => (typeof text === 'string' && text ? [Buffer.from(text, 'base64')] : []))
  } catch {
    // What follows the last newline is being written.
    return []
  }
}
