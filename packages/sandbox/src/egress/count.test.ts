import { expect, test } from 'vitest'
import { egressOf } from './count.js'
import { NamedEgress } from './names.js'

const access = {
  nameServers: ['10.0.0.2'],
  allowed: [
    { address: '10.1.0.1', port: 443, host: 'registry.example' },
    { address: '10.1.0.2', port: 443, host: 'registry.example' },
    { address: '10.1.0.3', port: 80, host: 'proxy.example' },
    { address: '10.1.0.3', port: 80, host: 'mirror.example' },
  ],
  environment: {},
  extraCertificates: '',
}
const elem = (address: string, port: number, bytes: number) => ({
  elem: { val: { concat: [address, port] }, counter: { packets: 1, bytes } },
})

test('addresses of one host are one destination; what is neither that nor a name server is the internet', () => {
  const listed = {
    nftables: [
      { metainfo: { version: '1.0.6' } },
      { set: { name: 'allowed', elem: [elem('10.1.0.1', 443, 5), elem('10.1.0.2', 443, 7), elem('10.1.0.3', 80, 0)] } },
      { set: { name: 'allowed_back', elem: [elem('10.1.0.1', 443, 100)] } },
      { set: { name: 'links', elem: [{ concat: ['v1', '198.18.0.2'] }] } },
      { counter: { name: 'sent_internet', packets: 3, bytes: 300 } },
      { counter: { name: 'received_internet', packets: 2, bytes: 4000 } },
      { counter: { name: 'sent_name_servers', packets: 1, bytes: 60 } },
      { counter: { name: 'refused', packets: 4, bytes: 240 } },
    ],
  }
  expect(egressOf(JSON.stringify(listed), access, new NamedEgress())).toEqual({
    destinations: [
      { destination: 'registry.example', sentBytes: 12, receivedBytes: 100 },
      { destination: 'mirror.example,proxy.example', sentBytes: 0, receivedBytes: 0 },
      { destination: 'name_servers', sentBytes: 60, receivedBytes: 0 },
      { destination: 'internet', sentBytes: 300, receivedBytes: 4000 },
    ],
    refusedPackets: 4,
  })
})

test('a table without sets that have elements is no error', () => {
  const none = { destination: 'internet', sentBytes: 0, receivedBytes: 0 }
  const listed = { nftables: [{ set: { name: 'allowed' } }] }
  expect(egressOf(JSON.stringify(listed), { ...access, allowed: [] }, new NamedEgress())).toEqual({
    destinations: [{ ...none, destination: 'name_servers' }, none],
    refusedPackets: 0,
  })
})
