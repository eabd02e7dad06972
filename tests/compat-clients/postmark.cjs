// Sends with Postmark's own client and prints what came of it, as one JSON object.
const postmark = require('postmark');
const { POSTROAD_URL: url, POSTROAD_KEY: key, POSTROAD_PREFIX: prefix } = process.env;

const at = new URL(url).host + (prefix || '');
const open = token => new postmark.ServerClient(token, { useHttps: false, requestHost: at });
const client = open(key);
const octets = Buffer.from([...Array(256).keys()]);
const refused = async promise => {
  try { await promise; return null; } catch (error) {
    return { name: error.name, status: error.statusCode, code: error.code, message: error.message, recipients: error.recipients };
  }
};

(async () => {
  const plain = { From: 'hello@acme.example', To: 'ann@example.net', Subject: 'Hello', TextBody: 'Some text.' };
  const out = {};
  out.whole = await client.sendEmail({
    From: '"Acme, Inc." <hello@acme.example>', To: 'Ann Ä <ann@example.net>', Cc: 'carl@example.net', Bcc: 'bob@example.net',
    ReplyTo: 'help@acme.example', Subject: 'Grüße', TextBody: 'Hallo Ann', HtmlBody: '<p>Hallo <img src="cid:logo"></p>',
    Tag: 'welcome', Metadata: { order: '7' }, Headers: [{ Name: 'X-Order', Value: '7' }], TrackOpens: false, TrackLinks: 'None',
    MessageStream: 'outbound',
    Attachments: [
      { Name: 'ü.bin', Content: octets.toString('base64'), ContentType: 'application/octet-stream', ContentID: null },
      { Name: 'logo.png', Content: Buffer.from('PNG').toString('base64'), ContentType: 'image/png', ContentID: 'cid:logo' },
    ],
  });
  out.batch = await client.sendEmailBatch([plain, { ...plain, To: 'nobody' }, { ...plain, To: 'bob@example.net' }]);
  out.made = await client.createTemplate({ Name: 'Welcome', Alias: 'welcome', Subject: 'Hi {{name}}', HtmlBody: '<p>{{name}}</p>', TextBody: '{{name}}' });
  out.byAlias = await client.sendEmailWithTemplate({ From: 'hello@acme.example', To: 'ann@example.net', TemplateAlias: 'welcome', TemplateModel: { name: 'Ann' } });
  out.byId = await client.sendEmailWithTemplate({ From: 'hello@acme.example', To: 'ann@example.net', TemplateId: out.made.TemplateId, TemplateModel: { name: 'Ann' } });
  out.templateBatch = await client.sendEmailBatchWithTemplates([
    { From: 'hello@acme.example', To: 'ann@example.net', TemplateAlias: 'welcome', TemplateModel: { name: 'Ann' } },
    { From: 'hello@acme.example', To: 'bob@example.net', TemplateAlias: 'nothing', TemplateModel: {} },
  ]);
  out.templates = (await client.getTemplates()).Templates.map(item => item.Alias);
  out.template = await client.getTemplate(out.made.TemplateId);
  out.edited = await client.editTemplate('welcome', { Subject: 'Hello {{name}}' });
  out.suppressed = await client.createSuppressions('outbound', { Suppressions: [{ EmailAddress: 'gone@example.net' }] });
  out.suppressions = (await client.getSuppressions('outbound')).Suppressions.map(item => [item.EmailAddress, item.SuppressionReason]);
  out.inactive = await refused(client.sendEmail({ ...plain, To: 'gone@example.net' }));
  out.partly = await client.sendEmail({ ...plain, To: 'ann@example.net, gone@example.net' });
  out.unsuppressed = await client.deleteSuppressions('outbound', { Suppressions: [{ EmailAddress: 'gone@example.net' }] });
  out.messages = (await client.getOutboundMessages({ tag: 'welcome' })).Messages.map(item => item.Subject);
  out.details = await client.getOutboundMessageDetails(out.whole.MessageID);
  out.server = (await client.getServer()).ID;
  out.stats = (await client.getOutboundOverview()).Sent;
  out.bounces = (await client.getBounces()).TotalCount;
  const account = new postmark.AccountClient(key, { useHttps: false, requestHost: at });
  const domain = await account.createDomain({ Name: 'pm.example', ReturnPathDomain: 'returns.pm.example' });
  out.domain = [domain.Name, domain.ReturnPathDomain, domain.DKIMVerified, domain.DKIMUpdateStatus, !!domain.DKIMPendingTextValue];
  out.verified = (await account.verifyDomainDKIM(domain.ID)).DKIMVerified;
  out.domains = (await account.getDomains()).Domains.map(one => one.Name);
  out.read = (await account.getDomain(domain.ID)).ID === domain.ID;
  out.again = await refused(account.createDomain({ Name: 'pm.example' }));
  out.goneDomain = await account.deleteDomain(domain.ID);
  out.noDomain = await refused(account.getDomain(domain.ID));
  const sections = '{{#company}}{{name}}{{/company}}{{^gone}}, nobody{{/gone}}{{missing}}';
  await client.createTemplate({ Name: 'Sections', Alias: 'sections', Subject: 'x', TextBody: sections });
  out.sections = await client.sendEmailWithTemplate({ From: 'hello@acme.example', To: 'ann@example.net', TemplateAlias: 'sections', TemplateModel: { company: { name: 'Acme' } } });
  await client.deleteTemplate('sections');
  out.deleted = await client.deleteTemplate('welcome');
  out.badTo = await refused(client.sendEmail({ ...plain, To: 'nobody' }));
  out.noBody = await refused(client.sendEmail({ From: 'hello@acme.example', To: 'ann@example.net', Subject: 'x' }));
  out.wrongKey = await refused(open('wrong').sendEmail(plain));
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error); process.exit(1); });
