// Sends with SendGrid's own client and prints what came of it, as one JSON object.
const mail = require('@sendgrid/mail');
const { Client } = require('@sendgrid/client');
const { POSTROAD_URL: url, POSTROAD_KEY: key, TEMPLATE: template } = process.env;

const client = new Client();
mail.setClient(client);
mail.setApiKey(key);
client.setDefaultRequest('baseUrl', url);
mail.setSubstitutionWrappers('-', '-');

const octets = Buffer.from([...Array(256).keys()]);
const sent = async message => {
  const [response] = await mail.send(message);
  return { status: response.statusCode, id: response.headers['x-message-id'], body: response.body };
};
const refused = async promise => {
  try { await promise; return null; } catch (error) { return { status: error.code, body: error.response.body }; }
};
const request = async (method, path, body, qs) => {
  const [response] = await client.request({ method, url: path, body, qs });
  return { status: response.statusCode, body: response.body };
};

(async () => {
  const plain = { to: 'ann@example.net', from: 'hello@acme.example', subject: 'Hello', text: 'Some text.' };
  const out = {};
  out.whole = await sent({
    to: { email: 'ann@example.net', name: 'Ann Ä' }, cc: 'carl@example.net', bcc: 'bob@example.net',
    from: { email: 'hello@acme.example', name: 'Acme, Inc.' }, replyTo: 'help@acme.example', subject: 'Grüße',
    text: 'Hallo Ann', html: '<p>Hallo <img src="cid:logo"></p>', headers: { 'X-Order': '7' },
    categories: ['welcome', 'second'], customArgs: { order: '7' },
    attachments: [
      { content: octets.toString('base64'), filename: 'ü.bin', type: 'application/octet-stream', disposition: 'attachment' },
      { content: Buffer.from('PNG').toString('base64'), filename: 'logo.png', type: 'image/png', disposition: 'inline', content_id: 'logo' },
    ],
    trackingSettings: { clickTracking: { enable: false }, openTracking: { enable: false } },
  });
  out.merged = await sent({
    from: 'hello@acme.example', subject: 'Hi -name-', text: 'Dear -name-, -sum- €', html: '<p>-name-</p>',
    personalizations: [
      { to: 'ann@example.net', substitutions: { name: 'Ann', sum: '7' }, customArgs: { n: '1' } },
      { to: 'bob@example.net', substitutions: { name: 'Bob', sum: '8' }, customArgs: { n: '2' } },
    ],
  });
  out.several = await sent({
    from: 'hello@acme.example', subject: 'All', text: 'x',
    personalizations: [{ to: 'ann@example.net', subject: 'For Ann' }, { to: 'bob@example.net' }],
  });
  out.template = await sent({
    from: 'hello@acme.example', templateId: template,
    personalizations: [
      { to: 'ann@example.net', dynamicTemplateData: { name: 'Ann' } },
      { to: 'bob@example.net', dynamicTemplateData: { name: 'Bob' } },
    ],
  });
  out.sandbox = await sent({ ...plain, mailSettings: { sandboxMode: { enable: true } } });
  out.scheduled = await sent({ ...plain, sendAt: Math.floor(Date.now() / 1000) + 3600 });
  out.noSubject = await refused(mail.send({ to: 'a@example.net', from: 'b@acme.example', text: 'x' }));
  out.added = await request('POST', '/v3/asm/suppressions/global', { recipient_emails: ['gone@example.net'] });
  out.gone = await request('GET', '/v3/asm/suppressions/global/gone@example.net');
  out.unsubscribes = await request('GET', '/v3/suppression/unsubscribes');
  out.removed = await request('DELETE', '/v3/asm/suppressions/global/gone@example.net');
  out.notGone = await request('GET', '/v3/asm/suppressions/global/gone@example.net');
  const made = await request('POST', '/v3/templates', { name: 'Welcome', generation: 'dynamic' });
  out.version = await request('POST', `/v3/templates/${made.body.id}/versions`,
    { name: 'one', subject: 'Hi {{name}}', html_content: '<p>{{name}}</p>', active: 1 });
  out.templates = await request('GET', '/v3/templates', undefined, { generations: 'dynamic', page_size: 10 });
  out.deleted = await request('DELETE', `/v3/templates/${made.body.id}`);
  out.scopes = await request('GET', '/v3/scopes');
  out.stats = await request('GET', '/v3/stats', undefined, { start_date: new Date().toISOString().slice(0, 10) });
  out.domain = await request('POST', '/v3/whitelabel/domains', { domain: 'sg.example' });
  out.validated = await request('POST', `/v3/whitelabel/domains/${out.domain.body.id}/validate`);
  out.message = await request('GET', `/v3/messages/${out.whole.id}`);
  mail.setApiKey('wrong');
  client.setDefaultRequest('baseUrl', url);
  out.wrongKey = await refused(mail.send(plain));
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error, error.response && JSON.stringify(error.response.body)); process.exit(1); });
