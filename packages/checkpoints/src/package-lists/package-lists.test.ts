import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { wholeImage } from '../erofs/open-images.js'
import type { CheckpointManifest } from '../index.js'
import { OverlayFixture } from '../overlay.test.fixture.js'
import { maxListBytes } from './find.js'
import { mergePackageLists } from './index.js'

let overlay: OverlayFixture
let folder: string
beforeEach(async () => {
  overlay = await OverlayFixture.create()
  folder = mkdtempSync(join(tmpdir(), 'vm0-lists-'))
})
afterEach(async () => {
  await overlay.close()
  rmSync(folder, { recursive: true })
})

const status = 'var/lib/dpkg/status'
const stanza = (name: string): string => `Package: ${name}\nStatus: install ok installed\nVersion: 1\n`

function put(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function imageOf(tree: string, name: string): string {
  const image = join(folder, `${name}.erofs`)
  execFileSync('mkfs.erofs', ['--quiet', image, tree])
  return image
}

test('a list is merged where session and template both have changed it; what is no list is never read as one', async () => {
  put(overlay.base, status, `${stanza('base')}\n`)
  const before = imageOf(overlay.base, 'before')
  put(join(folder, 'tree'), status, `${stanza('base')}\n${stanza('new')}\n`)
  const after = imageOf(join(folder, 'tree'), 'after')
  await overlay.start()
  const merged = async (to = after) => {
    const saved = await overlay.save()
    overlay.chain!.committed(saved)
    const images = await overlay.store.layerImages({ ...saved.manifest, projectId: 'default' } as CheckpointManifest)
    return mergePackageLists({ layers: images.toReversed(), before: wholeImage(before), after: wholeImage(to) }, folder)
  }
  const live = join(overlay.live, status)
  writeFileSync(join(overlay.live, 'other'), 'x')
  expect(await merged()).toBe(undefined)
  writeFileSync(live, `${stanza('base')}\n${stanza('own')}\n`)
  expect((await merged())?.paths).toEqual([`/${status}`])
  // The template that is gone to has the same list as the one before.
  expect(await merged(before)).toBe(undefined)
  const others: (() => void)[] = [
    () => writeFileSync(live, 'Version: 1\n'),
    () => truncateSync(live, maxListBytes + 1),
    () => rmSync(live),
    () => symlinkSync('/etc/passwd', live),
    () => {
      rmSync(live)
      mkdirSync(live)
    },
    () => {
      rmSync(dirname(live), { recursive: true })
      symlinkSync('/etc', dirname(live))
    },
  ]
  for (const [index, change] of others.entries()) {
    change()
    expect([index, await merged()]).toEqual([index, undefined])
  }
})
