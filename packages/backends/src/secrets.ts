import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { writeDurable } from './durable.js'
import type { SecretsPort } from './ports.js'

interface StoredKey {
  id: string
  key: string
}

/**
 * AES-256-GCM under the first key of a key file, which is made (mode 0600) when it isn't there. To rotate, put a new
 * key in front: what was sealed before still opens. Sealed form: version (1 byte), key id (8), IV (12), tag (16), text.
 */
export async function openSecrets(keyFile: string): Promise<SecretsPort> {
  const keys = new Map((await loadKeys(keyFile)).map(({ id, key }) => [id, Buffer.from(key, 'base64')]))
  const current = keys.keys().next().value as string
  return {
    seal(plain) {
      const iv = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', keys.get(current) as Buffer, iv)
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
      return Buffer.concat([Buffer.of(1), Buffer.from(current, 'hex'), iv, cipher.getAuthTag(), text])
    },
    open(sealed) {
      const id = sealed.subarray(1, 9).toString('hex')
      const key = keys.get(id)
      if (sealed[0] !== 1 || !key)
        throw new Error(
          `sealed with key ${id}, which ${keyFile} does not have; expected one of ${[...keys.keys()].join(', ')}`,
        )
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(9, 21)).setAuthTag(sealed.subarray(21, 37))
      return Buffer.concat([decipher.update(sealed.subarray(37)), decipher.final()]).toString('utf8')
    },
    keysFor(purpose) {
      const derive = (master: Buffer): Buffer => Buffer.from(hkdfSync('sha256', master, '', `vm0 ${purpose}`, 32))
      return {
        current: { id: current, key: derive(keys.get(current) as Buffer) },
        find: (id) => {
          const master = keys.get(id)
          return master && derive(master)
        },
      }
    },
  }
}

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
