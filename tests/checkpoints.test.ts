import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const script = {
  name: 'checkpoints',
  conversations: [{ when: 'save', steps: [{ text: 'saved' }] }],
}

let platform: TestPlatform
beforeAll(async () => {
  platform = await TestPlatform.start([script])
})
afterAll(() => platform.stop())

const objects = (kind: string): Promise<string[]> => readdir(join(platform.directory, 'data/objects', kind))

/** What a program can see of its files; the owner of a file capability and of an ACL entry among it. */
const look = String.raw`
  cd / && stat -c '%n %a %u:%g' / /workspace
  cd /workspace && find . -mindepth 1 \( -type d -printf '%p %y %m %U:%G %T@\n' \) -o -printf '%p %y %m %U:%G %n %s %T@ %l\n' | LC_ALL=C sort
  find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum
  getfacl -n acl; getcap capable; python3 -c '
import os
for name in ("noted", "acl"): print(name, [(key, os.getxattr(name, key)) for key in sorted(os.listxattr(name))])
fd = os.open("sparse", os.O_RDONLY); print(os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_END))'`

test('owners, links, attributes, capabilities, ACLs and holes are the same in a sandbox with another range of ids', async () => {
  const { session } = await platform.client.run({ prompt: 'save' })
  const made = await session.exec(String.raw`
    set -e
    apt-get update -qq && apt-get install -y -qq libcap2-bin acl attr >/dev/null
    cd /workspace
    chmod 711 /
    echo text > file; ln file hard; ln -s file soft; mkfifo fifo; mkdir -p 'a dir/empty'; chown 1000:1000 'a dir'
    python3 -c 'open(b"not-utf8-\xff\xfe", "w").write("x")'
    cp /bin/cat capable; setcap cap_dac_override+ep capable
    touch acl && setfacl -m u:1000:rw,g:100:r acl
    touch noted && setfattr -n user.note -v value noted
    truncate -s 50M sparse && printf end | dd of=sparse bs=1 seek=41943040 conv=notrunc 2>/dev/null
    touch -d '1999-12-31 23:59:59.123456789' file`)
  expect(made).toMatchObject({ exitCode: 0 })
  const before = await session.exec(look)
  expect(before.stdout).toContain('capable cap_dac_override=ep')
  expect(before.stdout).toContain('user:1000:rw-')
  // Another session takes the first range of ids when this one's sandbox is gone.
  await session.close()
  const other = await platform.client.sessions.create()
  await other.exec('true')
  expect((await session.exec(look)).stdout).toBe(before.stdout)
})

test('checkpoints of one sandbox hold what changed between them, what was deleted among it', async () => {
  const { session } = await platform.client.run({ prompt: 'save' })
  await session.exec('head -c 30M /dev/urandom > big; mkdir gone; echo 1 > gone/file; echo 1 > changing')
  await session.run('save')
  const layers = (await objects('layers')).length
  await session.exec('rm -r gone; echo 2 > changing')
  await session.run('save')
  expect((await objects('layers')).length).toBe(layers + 1)
  await session.close()
  await platform.kill()
  await platform.up()
  const { stdout } = await platform.client.sessions.get(session.id).exec('ls; cat changing; stat -c %s big')
  expect(stdout).toBe('big\nchanging\n2\n31457280\n')
})
