// A device on npm's coap server: /temp notifies observers as fast as the period says, /pack is a SenML pack.
const coap = require('coap')

const [port, periodMs] = process.argv.slice(2).map(Number)
let temperature = 20

const server = coap.createServer((request, response) => {
  const path = request.url.split('?')[0]
  if (path === '/pack') {
    response.setOption('Content-Format', 'application/senml+json')
    response.end(JSON.stringify([{ bn: 'npm:', n: 'hum', u: '%RH', v: 40 }, { n: 'mode', vs: 'eco' }]))
  } else if (path !== '/temp') {
    response.code = '4.04'
    response.end()
  } else if (request.headers.Observe !== 0) {
    response.end(String(temperature))
  } else {
    response.setOption('Max-Age', 1)
    response.write(String(temperature))
    const timer = setInterval(() => response.write(String(++temperature)), periodMs)
    response.on('finish', () => clearInterval(timer))
  }
})
server.listen(port, '127.0.0.1', () => console.log('listening'))
