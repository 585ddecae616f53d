import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase } from './database.js'

test('a new embedded database starts as a copy of the cached empty one and shares nothing with it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vm0-cluster-'))
  try {
    const cacheDir = join(folder, 'cache')
    for (const name of ['first', 'second']) {
      const { db, close } = await openDatabase({ directory: join(folder, name), cacheDir })
      expect(await db.selectFrom('projects').select('id').execute()).toEqual([])
      await db.insertInto('projects').values({ id: name, name }).execute()
      await close()
    }
    const again = await openDatabase({ directory: join(folder, 'first'), cacheDir })
    expect(await again.db.selectFrom('projects').select('id').execute()).toEqual([{ id: 'first' }])
    await again.close()
    expect((await readdir(folder)).toSorted()).toEqual(['cache', 'first', 'second'])
    expect((await readdir(join(cacheDir, 'pglite'))).length).toBe(1)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
