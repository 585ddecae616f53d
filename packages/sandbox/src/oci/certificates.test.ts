import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { extraCertificates } from './certificates.js'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-certificates-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

test('of a bundle that has what Node knows and an authority of its own, the latter is left, and TLS takes it', async () => {
  const [key, own, bundle] = ['key', 'own', 'bundle'].map((name) => join(directory, name)) as [string, string, string]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  execFileSync('openssl', [...request, '-subj', '/CN=own authority', '-keyout', key, '-out', own], { stdio: 'ignore' })
  const authority = await readFile(own, 'utf8')
  // Lines are broken as other programs break them.
  const others = rootCertificates.slice(0, 20).map((each) => each.replaceAll('\n', '\r\n'))
  await writeFile(bundle, ['# a comment', ...others.slice(0, 10), authority, ...others.slice(10)].join('\n'))
  const extra = await extraCertificates(bundle)
  expect(extra).toBe(authority.trim())
  const text = execFileSync('openssl', ['x509', '-noout', '-subject'], { input: extra, encoding: 'utf8' })
  expect(text).toMatch(/CN ?= ?own authority/)
})

test('of a bundle that Node knows whole, and of none, nothing is left', async () => {
  const bundle = join(directory, 'known')
  await writeFile(bundle, rootCertificates.join('\n'))
  expect(await extraCertificates(bundle)).toBe('')
  expect(await extraCertificates(join(directory, 'not-there'))).toBe('')
})
