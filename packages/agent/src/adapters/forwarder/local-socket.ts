import { createSocket, type Socket } from 'node:dgram'

/** Connected, so that the kernel says where nobody listens. */
export function localSocket(address: string, port: number): Promise<Socket> {
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      socket.off('error', failed)
      resolve(socket)
    })
    socket.connect(port, address)
  })
}
