import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Vm0Error } from '@vm0/contract'
import { writeDurable } from './durable.js'
import type { SecretsPort } from './ports.js'

interface StoredKey {
  id: string
  key: string
}

/** The master keys of an installation, all of which open; the first seals. */
export interface KeyRing extends SecretsPort {
  /** Ids, the newest first. */
  keyIds(): string[]
  /** Makes another key, which seals from now on; gives its id. It is on disk before it is used. */
  addKey(): Promise<string>
  /** Forgets a key that isn't the newest: what is sealed under it can't be opened any more. */
  dropKey(id: string): Promise<void>
}

/**
 * AES-256-GCM under the first key of a key file, which is made (mode 0600) when it isn't there. What was sealed under the
 * others still opens. Sealed form: version (1 byte), key id (8), IV (12), tag (16), text.
 */
export async function openSecrets(keyFile: string): Promise<KeyRing> {
  let keys = toMap(await loadKeys(keyFile))
  const current = (): string => keys.keys().next().value as string
  const write = async (next: ReadonlyMap<string, Buffer>): Promise<void> => {
    const stored = [...next].map(([id, key]) => ({ id, key: key.toString('base64') }))
    await writeDurable(keyFile, `${JSON.stringify(stored, null, 2)}\n`)
    keys = new Map(next)
  }
  return {
    seal(plain) {
      const iv = randomBytes(12)
      const id = current()
      const cipher = createCipheriv('aes-256-gcm', keys.get(id) as Buffer, iv)
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
      return Buffer.concat([Buffer.of(1), Buffer.from(id, 'hex'), iv, cipher.getAuthTag(), text])
    },
    open(sealed) {
      const id = keyOf(sealed)
      const key = keys.get(id)
      if (sealed[0] !== 1 || !key)
        throw new Vm0Error(
          'ENCRYPTION_KEY_MISSING',
          `sealed under the key ${id}, which ${keyFile} does not have; expected one of ${[...keys.keys()].join(', ')}`,
        )
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(9, 21)).setAuthTag(sealed.subarray(21, 37))
      return Buffer.concat([decipher.update(sealed.subarray(37)), decipher.final()]).toString('utf8')
    },
    keysFor(purpose) {
      const derive = (master: Buffer): Buffer => Buffer.from(hkdfSync('sha256', master, '', `vm0 ${purpose}`, 32))
      const id = current()
      return {
        current: { id, key: derive(keys.get(id) as Buffer) },
        find: (other) => {
          const master = keys.get(other)
          return master && derive(master)
        },
      }
    },
    keyIds: () => [...keys.keys()],
    async addKey() {
      const id = randomBytes(8).toString('hex')
      await write(new Map([[id, randomBytes(32)], ...keys]))
      return id
    },
    async dropKey(id) {
      if (!keys.has(id) || id === current())
        throw new Vm0Error('INVALID_REQUEST', `key ${id}: expected one of the older keys`)
      await write(new Map([...keys].filter(([each]) => each !== id)))
    },
  }
}

/** The id of the master key that something was sealed under. */
export const keyOf = (sealed: Uint8Array): string => Buffer.from(sealed.subarray(1, 9)).toString('hex')

const toMap = (keys: readonly StoredKey[]): Map<string, Buffer> =>
  new Map(keys.map(({ id, key }) => [id, Buffer.from(key, 'base64')]))
async function loadKeys(keyFile: string): Promise<StoredKey[]> {
  try {
    return parse(await readFile(keyFile, 'utf8'), keyFile)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const made = [{ id: randomBytes(8).toString('hex'), key: randomBytes(32).toString('base64') }]
  await writeDurable(keyFile, `${JSON.stringify(made, null, 2)}\n`)
  return made
}

function parse(text: string, keyFile: string): StoredKey[] {
  const keys = JSON.parse(text) as StoredKey[]
  if (
    !Array.isArray(keys) ||
    keys.length === 0 ||
    !keys.every(({ id, key }) => /^[0-9a-f]{16}$/.test(id) && Buffer.from(key, 'base64').length === 32)
  ) {
    throw new Error(`${keyFile}: expected a list of { id: 16 hex digits, key: 32 bytes in base64 }`)
  }
  return keys
}
